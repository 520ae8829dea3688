-- Declare the store's first use [L5], or with "again" declare a lost store anew. ARGV: id of the first entry, 11 random bits, "again" or "".
-- An epoch is the millisecond of its declaration and 11 random bits (exact in a double until 2109): younger epochs are greater, and two of the same second differ.
-- The sequence goes on where an older epoch ended, so the facts' sequences keep their order; nothing that is there is dropped.
if not is_master() then return redis.error_reply('READONLY this server is not a master') end
local record = read_record()
if record and ARGV[3] ~= 'again' then return {record.epoch, 0} end
local now, microseconds = server_time()
local epoch = (now * 1000 + math.floor(microseconds / 1000)) * 2048 + tonumber(ARGV[2])
if record then epoch = math.max(epoch, tonumber(record.epoch) + 1) end
local last = redis.call('XREVRANGE', ENTRIES, '+', '-', 'COUNT', 1)
if last[1] then epoch = math.max(epoch, tonumber(string.match(last[1][1], '^(%d+)-')) + 1) end
local declared = {epoch = whole(epoch), head = record and record.head or 0, head_id = record and record.head_id or ''}
redis.call('HSET', RECORD, 'epoch', declared.epoch, 'floor', whole(declared.head + 1), 'genesis', ARGV[1],
  'complete_since', ARGV[3] == 'again' and whole(now) or '0', 'declared_at', whole(now), 'run_id', run_id())
append(declared, ARGV[1], 'epoch', NONE, 0, 0, NONE, '', NONE, '')
return {declared.epoch, 1}
