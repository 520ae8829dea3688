-- A worker found that its log was lost: begin a new epoch, or take part in the one that somebody has begun [L5].
-- ARGV: incarnation, "live" when it was live in its epoch (only such a one begins anything), epoch, position, id at the position, log, id of
-- the first entry, 11 random bits, then incarnation and line of each member that it knew of.
-- Who was a member and is not heard yet is written into the register as missing: a receipt of the new epoch waits for it too.
if not is_master() then return redis.error_reply('READONLY this server is not a master') end
local mine, position = ARGV[3], tonumber(ARGV[4])
local record = read_record()

local is_younger = record and compare_epochs(record.epoch, mine) > 0
if not is_younger then
  if ARGV[2] ~= 'live' or (record and record.log ~= ARGV[6]) then return {'refused'} end
  if record and record.epoch == mine then
    local found = redis.call('XRANGE', ENTRIES, position_of(record, position), position_of(record, position))
    if found[1] and found[1][2][2] == ARGV[5] and position <= record.head then return {'whole'} end
  end
end
if is_younger and record.phase ~= 'merge' then return {'merging', record.epoch, 0} end

local now = server_time()
each_worker(function(incarnation, line)
  if is_younger and line.epoch == record.epoch then return end
  local renewed_at = tonumber(string.match(line.rest, '^%d+ (%d+)')) or 0
  local was_member = line.state == 'live' or line.state == 'draining' or line.state == 'merged'
  if was_member and (now - renewed_at) * 1000 <= line.staleness * 2 then
    line.state = 'missing'
    write_line(incarnation, line)
  elseif line.state ~= 'missing' then
    redis.call('HDEL', WORKERS, incarnation)
  end
end)
for at = 9, #ARGV, 2 do
  local line = read_line(ARGV[at + 1])
  if line.state == 'live' or line.state == 'draining' or line.state == 'merged' or line.state == 'missing' then
    line.state = 'missing'
    if redis.call('HEXISTS', WORKERS, ARGV[at]) == 0 then write_line(ARGV[at], line) end
  end
end
if is_younger then
  local progress, running = string.match(record.waiting, '^%d+ (%d+) (%S*)')
  wait_for_missing(record, 'merge', running, tonumber(progress) + 1)
  return {'merging', record.epoch, 0}
end

local epoch = younger_epoch(record, {bits = ARGV[8], epoch = mine})
local declared = {epoch = epoch, head = math.max(record and record.head or 0, position), head_id = record and record.head_id or ''}
-- Until a worker claims more, the log is complete since now. The second in which it was lost is not.
redis.call('HSET', RECORD, 'epoch', epoch, 'floor', whole(declared.head + 1), 'genesis', ARGV[7], 'complete_since', whole(now + 1),
  'uses_since', whole(now + 1), 'declared_at', whole(now), 'log', ARGV[6], 'recovers', mine)
redis.call('HDEL', RECORD, 'claim', 'fresh')
append(declared, ARGV[7], 'epoch', NONE, 0, 0, NONE, '', NONE, '')
wait_for_missing(declared, 'merge', run_id(), 0)
redis.call('HSET', RECORD, 'run_id', run_id())
return {'merging', epoch, 1}
