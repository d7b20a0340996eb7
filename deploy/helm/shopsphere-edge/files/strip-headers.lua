-- What only the edge may say is taken from clients (rule J8). All headers are looked through: a bound would be a way around it.
for name in pairs(ngx.req.get_headers(0)) do
  local lower = name:lower()
  if lower:find("^x%-user") or lower:find("^x%-shopsphere") or lower:find("^x%-consumer") or lower:find("^x%-credential")
    or lower == "x-region" or lower == "forwarded" then
    kong.service.request.clear_header(name)
  end
end
-- Services count by the last address of this header. Kong would append the load balancer's, and everybody would be one.
ngx.var.upstream_x_forwarded_for = ngx.var.remote_addr
