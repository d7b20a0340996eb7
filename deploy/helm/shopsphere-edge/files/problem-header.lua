-- Errors that the gateway makes itself are problem documents, like those of the services.
if kong.response.get_source() ~= "service" and kong.response.get_status() >= 400 then
  kong.response.set_header("Content-Type", "application/problem+json")
  kong.response.set_header("Cache-Control", "no-store")
  kong.response.clear_header("Content-Length")
end
