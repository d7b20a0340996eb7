local codes = {
  [401] = "unauthenticated", [404] = "not-found", [413] = "body-too-large", [417] = "body-too-large", [429] = "too-many-requests",
  [431] = "headers-too-large", [494] = "headers-too-large", [500] = "internal",
}
local status = kong.response.get_status()
if kong.ctx.shared.problem_is_ours and ngx.arg[2] then
  local code = codes[status] or (status >= 500 and "dependency-down" or "malformed-request")
  ngx.arg[1] = ('{"type":"https://shopsphere.example/errors/%s","title":"%s","status":%d,"code":"%s"}'):format(code, code, status, code)
elseif kong.ctx.shared.problem_is_ours then
  ngx.arg[1] = nil
end
