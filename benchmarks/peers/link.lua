-- wrk: the same call again and again.
function init(arguments)
  wrk.method = "POST"
  wrk.body = '{"externalId": "10000000"}'
  wrk.headers["Content-Type"] = "application/json"
  wrk.headers["Accept"] = "application/json"
  wrk.headers["Authorization"] = "Bearer " .. arguments[1]
end
