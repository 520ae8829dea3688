-- Declare the store's first use [L5], or with "again" declare a lost store anew. ARGV: id of the first entry, 11 random bits, "again" or "", a name.
-- An epoch is the millisecond of its declaration and 11 random bits (exact in a double until 2109): younger epochs are greater, and two of the same second differ.
-- The sequence goes on where an older epoch ended, so the facts' sequences keep their order; nothing that is there is dropped.
if not is_master() then return redis.error_reply('READONLY this server is not a master') end
local record = read_record()
if record and ARGV[3] ~= 'again' then return {record.epoch, 0} end
local now = server_time()
local declared = {epoch = younger_epoch(record, {bits = ARGV[2]}), head = record and record.head or 0, head_id = record and record.head_id or ''}
local since = ARGV[3] == 'again' and whole(now + 1) or '0' -- the second in which it was lost is not whole
redis.call('HSET', RECORD, 'epoch', declared.epoch, 'floor', whole(declared.head + 1), 'genesis', ARGV[1], 'complete_since', since,
  'uses_since', since, 'declared_at', whole(now), 'run_id', run_id(), 'log', record and record.log or ARGV[4])
redis.call('HDEL', RECORD, 'waiting', 'phase', 'claim', 'fresh', 'recovers')
append(declared, ARGV[1], 'epoch', NONE, 0, 0, NONE, '', NONE, '')
return {declared.epoch, 1}
