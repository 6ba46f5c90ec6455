-- Checks of random accounts, alike or by Zipf with exponent 1.1; all requests are made once, so that the generator
-- costs as little as it can.
local requests = {}

function init(args)
  math.randomseed(os.time())
  local headers = { ["Content-Type"] = "application/json" }
  if args[3] then headers["Authorization"] = "Bearer " .. args[3] end
  local accounts, zipf = tonumber(args[1]), args[2] == "zipf"
  local sum = 0
  for i = 1, accounts do sum = sum + i ^ -1.1 end
  for i = 1, accounts do
    local body = string.format('{"account":"bench-%05d","category":"llm"}', i - 1)
    local request = wrk.format("POST", "/v1/check", headers, body)
    local times = 1
    if zipf then times = math.ceil(i ^ -1.1 / sum * 200000) end
    for _ = 1, times do requests[#requests + 1] = request end
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
