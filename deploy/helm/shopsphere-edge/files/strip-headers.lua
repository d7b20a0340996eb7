-- What only the edge may say is taken from clients (rule J8).
for name in pairs(kong.request.get_headers(200)) do
  local lower = name:lower()
  if lower:find("^x%-user") or lower:find("^x%-shopsphere") or lower == "x-region" or lower == "forwarded" then
    kong.service.request.clear_header(name)
  end
end
