-- Counters that empty themselves: GCRA, the leaky bucket that is one number. A key holds the microsecond at which its bucket will
-- be empty again, and expires then. A bucket takes `period / interval` at once and one more each interval.
-- KEYS: the counters. ARGV: "take" or "give back", then interval and period of each, in microseconds.
-- take:       from all of them or from none. {0, 0}, or {number of the fullest, microseconds until it has room}
-- give back:  undo one take. {0, 0}
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])

-- When the bucket will be empty. Never more than a period ahead: a clock that was set back does not lock anybody out for longer.
local function empty_at(key, period)
  local kept = tonumber(redis.call('GET', key) or '') or now
  return math.max(now, math.min(kept, now + period))
end

local function keep(key, empty)
  if empty <= now then
    redis.call('DEL', key)
  else
    redis.call('SET', key, string.format('%.0f', empty), 'PX', string.format('%.0f', math.ceil((empty - now) / 1000)))
  end
end

local counters, longest, fullest = {}, 0, 0
for number, key in ipairs(KEYS) do
  local interval, period = tonumber(ARGV[2 * number]), tonumber(ARGV[2 * number + 1])
  local empty = empty_at(key, period)
  local wait = empty + interval - now - period
  if wait > longest then longest, fullest = wait, number end
  counters[number] = {key = key, empty = empty, interval = interval}
end
if ARGV[1] == 'take' then
  if fullest > 0 then return {fullest, longest} end
  for _, counter in ipairs(counters) do keep(counter.key, counter.empty + counter.interval) end
else
  for _, counter in ipairs(counters) do keep(counter.key, counter.empty - counter.interval) end
end
return {0, 0}
