local codes = { [401] = "unauthenticated", [404] = "not-found", [413] = "body-too-large", [429] = "too-many-requests" }
local status = kong.response.get_status()
if kong.response.get_source() ~= "service" and status >= 400 and ngx.arg[2] then
  local code = codes[status] or (status >= 500 and "dependency-down" or "malformed-request")
  ngx.arg[1] = ('{"type":"https://shopsphere.example/errors/%s","title":"%s","status":%d,"code":"%s"}'):format(code, code, status, code)
elseif kong.response.get_source() ~= "service" and status >= 400 then
  ngx.arg[1] = nil
end
