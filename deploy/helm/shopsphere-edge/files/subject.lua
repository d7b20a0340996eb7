-- The person a token names, for counting. Not proven yet: jwt runs next and refuses forgeries before anything is counted.
local token = (kong.request.get_header("authorization") or ""):match("^[Bb]earer%s+[%w_-]+%.([%w_-]+)%.")
local subject = "nobody"
if token then
  local padded = token:gsub("-", "+"):gsub("_", "/") .. ("="):rep((4 - #token % 4) % 4)
  local claims = ngx.decode_base64(padded)
  subject = claims and claims:match('"sub"%s*:%s*"([%w-]+)"') or "nobody"
end
kong.service.request.set_header("X-ShopSphere-Subject", subject)
ngx.req.set_header("X-ShopSphere-Subject", subject)
