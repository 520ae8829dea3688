-- Drop what is too old: a portion of it, so that nobody waits long. ARGV: seconds an event is kept, seconds an erasure is remembered,
-- how many at most. What was dropped (events, names, erasures), and 1 if there may be more. While there is much to trim, whole nodes
-- of a stream go; when no whole one is old any more, the rest goes to the very event.
local now = server_time()
local cutoff, budget = now - tonumber(ARGV[1]), tonumber(ARGV[3])
local more = 0

local function trim(stream)
  local oldest = whole(math.max(0, math.floor(cutoff * 1000))) .. '-0'
  local trimmed = redis.call('XTRIM', stream, 'MINID', '~', oldest, 'LIMIT', budget)
  if trimmed == 0 then return redis.call('XTRIM', stream, 'MINID', '=', oldest) end
  more = 1
  return trimmed
end

local events = trim(TRAIL) + trim(STRANGERS)
local names = redis.call('ZRANGEBYSCORE', SEEN, '-inf', '(' .. whole(cutoff), 'LIMIT', 0, budget)
for _, digest in ipairs(names) do forget(digest) end
if #names == budget then more = 1 end
local erasures = redis.call('ZREMRANGEBYSCORE', FORGOTTEN, '-inf', string.format('(%.6f', now - tonumber(ARGV[2])))
return {events, #names, erasures, more}
