-- Three look-ups per request over a pooled Redis connection: is the token revoked, the user's version, the session.
-- All three travel in one write: one after another they would cost twice as much.
local payload = (ngx.var.http_authorization or ""):match("^Bearer [^.]+%.([^.]+)%.")
local text = payload and ngx.decode_base64((payload:gsub("-", "+"):gsub("_", "/")) .. ("="):rep(-#payload % 4))
if not text then return ngx.exit(401) end

local store = redis:new()
store:set_timeout(1000)
if not store:connect("127.0.0.1", ngx.var.store_port) then return ngx.exit(503) end
local user = text:match('"sub":"([^"]+)"')
store:init_pipeline(3)
store:get("revoked:" .. text:match('"jti":"([^"]+)"'))
store:get("version:" .. user)
store:get("session:" .. text:match('"sid":"([^"]+)"'))
local found = store:commit_pipeline()
if not found then return ngx.exit(503) end
store:set_keepalive(60000, 64)
if found[1] ~= ngx.null or found[2] == "2" or found[3] == "ended" then return ngx.exit(401) end
ngx.req.set_header("X-User", user)
