-- Errors that the gateway makes itself are problem documents, like those of the services. One that is one already stays as it is.
local kind = kong.response.get_header("Content-Type") or ""
if kong.response.get_source() ~= "service" and kong.response.get_status() >= 400 and not kind:find("^application/problem") then
  kong.ctx.shared.problem_is_ours = true
  kong.response.set_header("Content-Type", "application/problem+json")
  kong.response.set_header("Cache-Control", "no-store")
  kong.response.clear_header("Content-Length")
end
