-- Asks quorate whether txn.account may make one request of category llm now.
-- What is allowed goes on; all else is answered with quorate's own answer.
local nodes = { "127.0.0.1:8081", "127.0.0.1:8082", "127.0.0.1:8083" }

-- Headers of quorate's answer that are the client's business.
local shown = {
  ["content-type"] = true, ["ratelimit"] = true, ["ratelimit-policy"] = true,
  ["retry-after"] = true, ["retry-after-ms"] = true, ["x-should-retry"] = true,
}

local function ask(account)
  for _, node in ipairs(nodes) do
    -- Everything stands in the query: no header of the client's gets here.
    local answer = core.httpclient():get {
      url = "http://" .. node .. "/v1/authz?category=llm&requests=1&tokens=0&reserve=false&account=" .. account,
      timeout = 1000,
    }
    if answer and answer.status and answer.status >= 200 and answer.status ~= 503 then
      return answer
    end
  end
end

core.register_action("quorate", { "http-req" }, function(txn)
  local answer = ask(txn:get_var("txn.account"))
  if answer and answer.status == 200 then
    return
  end
  local reply = txn:reply { status = 503 }
  if answer then
    reply:set_status(answer.status)
    for name, values in pairs(answer.headers) do
      if shown[name:lower()] then
        for _, value in pairs(values) do
          reply:add_header(name, value)
        end
      end
    end
    reply:set_body(answer.body)
  end
  txn:done(reply)
end)
