-- Drop what is too old: a portion of it, so that nobody waits long. ARGV: seconds an event is kept, seconds an erasure is remembered,
-- how many at most. What was dropped: events, names, erasures. A stream is trimmed by whole nodes while there is much to trim, and to
-- the very event at the end.
local now = server_time()
local cutoff, budget = now - tonumber(ARGV[1]), tonumber(ARGV[3])

local function trim(stream)
  local oldest = whole(math.max(0, math.floor(cutoff * 1000))) .. '-0'
  local trimmed = redis.call('XTRIM', stream, 'MINID', '~', oldest, 'LIMIT', budget)
  if trimmed < budget then trimmed = trimmed + redis.call('XTRIM', stream, 'MINID', '=', oldest) end
  return trimmed
end

local events = trim(TRAIL) + trim(STRANGERS)
local names = redis.call('ZRANGEBYSCORE', SEEN, '-inf', '(' .. whole(cutoff), 'LIMIT', 0, budget)
for _, digest in ipairs(names) do forget(digest) end
local erasures = redis.call('ZREMRANGEBYSCORE', FORGOTTEN, '-inf', string.format('(%.6f', now - tonumber(ARGV[2])))
return {events, #names, erasures}
