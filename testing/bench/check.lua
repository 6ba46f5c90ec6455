-- Checks of random accounts; all requests are made once, so that the generator
-- costs as little as it can.
local requests = {}

function init(args)
  math.randomseed(os.time())
  local headers = { ["Content-Type"] = "application/json" }
  for i = 0, tonumber(args[1]) - 1 do
    local body = string.format('{"account":"bench-%05d","category":"llm"}', i)
    requests[#requests + 1] = wrk.format("POST", "/v1/check", headers, body)
  end
end

function request()
  return requests[math.random(#requests)]
end

function done(summary, latency)
  local e = summary.errors
  print(string.format('{"rate":%f,"p50":%f,"p99":%f,"errors":%d}',
    summary.requests / (summary.duration / 1e6), latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
