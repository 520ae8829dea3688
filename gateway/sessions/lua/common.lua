-- Put before every other script, after the layout that keys.py writes: FIELDS, the position of each field by its name in capitals,
-- LAYOUT (the version of it), MARGIN.
--
-- A record is an array in the order of FIELDS; a change of it is a table by position. Times are decimal text with microseconds;
-- what is compared is what was written, so this code and rotation.py see the same numbers.

local function whole(number)
  return string.format('%.0f', number)
end

local function instant(number)
  return string.format('%.6f', number)
end

local function server_time()
  local time = redis.call('TIME')
  local text = time[1] .. '.' .. string.rep('0', 6 - #time[2]) .. time[2]
  return tonumber(text), text
end

-- A plain decimal number, or nil: tonumber alone takes hexadecimals, exponents, 'inf' and 'nan' too.
local function number(text)
  if not text or #text > 20 or not string.match(text, '^%d+%.?%d*$') then return nil end
  return tonumber(text)
end

-- Whether nothing is missing and all that the scripts compute with is what it should be [S37]. stored.py looks at the rest.
local function is_sound(record)
  for position = 1, #FIELDS do
    if not record[position] then return false end
  end
  for _, position in ipairs({VERSION, CREATED, ENDS, GENERATION, USED, ROTATED_AT, ACCESS_EXPIRES, REFRESH_EXPIRES, REVISION,
                             ODD_GENERATION, FIRST_USED, LAST_SEEN, USES}) do
    if not number(record[position]) then return false end
  end
  local ends = tonumber(record[ENDS])
  return tonumber(record[GENERATION]) >= 1 and (record[ENDED] == '0' or record[ENDED] == '1')
    and tonumber(record[ACCESS_EXPIRES]) <= ends and tonumber(record[REFRESH_EXPIRES]) <= ends
end

-- The record, or nil and the answer that says why not.
local function read(key, sid)
  local record = redis.pcall('HMGET', key, unpack(FIELDS))
  if record.err then
    if string.find(record.err, 'WRONGTYPE', 1, true) then return nil, {'corrupt'} end
    return nil, record
  end
  if record[SCHEMA] == LAYOUT and record[SID] == sid and is_sound(record) then return record end
  if redis.call('EXISTS', key) == 0 then return nil, {'absent'} end
  return nil, {'corrupt'}
end

-- The changes when tokens are made now, and the second from which on nobody needs the record.
local function dated(now, now_text, ends, access_ttl, refresh_ttl)
  local access, refresh = math.min(now + access_ttl, ends), math.min(now + refresh_ttl, ends)
  return {[ROTATED_AT] = now_text, [ACCESS_EXPIRES] = instant(access), [REFRESH_EXPIRES] = instant(refresh)},
    math.ceil(math.max(access, refresh)) + MARGIN
end

-- Write changes into the record, here and there.
local function put(key, record, changes)
  local flat = {}
  for position, value in pairs(changes) do
    record[position] = value
    flat[#flat + 1], flat[#flat + 2] = FIELDS[position], value
  end
  redis.call('HSET', key, unpack(flat))
end

-- The same for what a decision could see: the revision grows, so caches know which copy is newer [S1].
local function change(key, record, changes)
  changes[REVISION] = whole(record[REVISION] + 1)
  put(key, record, changes)
end
