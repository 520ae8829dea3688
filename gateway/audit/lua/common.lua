-- Put before every other script. What lives under which key is told in keys.py.
local TRAIL, STRANGERS, PEOPLE, NAMES, SEEN, FORGOTTEN = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]

local function whole(number)
  return string.format('%.0f', number)
end

local function server_time()
  local time = redis.call('TIME')
  return tonumber(time[1]) + tonumber(time[2]) / 1000000
end

local function last_id(stream)
  if redis.call('EXISTS', stream) == 0 then return 0, 0 end
  local info = redis.call('XINFO', 'STREAM', stream)
  for at = 1, #info, 2 do
    if info[at] == 'last-generated-id' then
      local ms, sequence = string.match(info[at + 1], '^(%d+)-(%d+)$')
      return tonumber(ms), tonumber(sequence)
    end
  end
end

-- The next ids, <milliseconds>-<number>, increasing over both streams together: so one id is a position in both, and a reader of
-- both needs one cursor. A clock that went back repeats the last millisecond.
local function new_ids(now)
  local ms, sequence = last_id(TRAIL)
  local other_ms, other_sequence = last_id(STRANGERS)
  if other_ms > ms or (other_ms == ms and other_sequence > sequence) then ms, sequence = other_ms, other_sequence end
  local present = math.floor(now * 1000)
  if present > ms then ms, sequence = present, -1 end
  return function()
    sequence = sequence + 1
    return whole(ms) .. '-' .. whole(sequence)
  end
end

local function forget(digest)
  local pseudonym = redis.call('HGET', PEOPLE, digest)
  if pseudonym then
    redis.call('HDEL', PEOPLE, digest)
    redis.call('HDEL', NAMES, pseudonym)
  end
  redis.call('ZREM', SEEN, digest)
  return pseudonym
end
