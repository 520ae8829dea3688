-- One atomic look at the log: lease renewal, continuity, what is new, head, time [L2, L3].
-- ARGV: incarnation, wanted state, epoch, position, id at the position, how many entries, staleness_ms, label, complete_since at least.
-- Without an epoch it only looks; with the state "reading" it reads without a lease, which proves nothing and costs no flush. The lease is written, and membership granted, only when the entry at the position is the one the worker applied.
if not is_master() then return redis.error_reply('READONLY this server is not a master') end
local seconds, microseconds = server_time()
local running = run_id()
local record = read_record()
if not record then return {seconds, microseconds, running} end

local incarnation, wanted, position = ARGV[1], ARGV[2], tonumber(ARGV[4])
local mine, granted, entries = '', '', {}
if ARGV[3] == record.epoch then
  local at = position_of(record, position)
  local found = redis.call('XRANGE', ENTRIES, at, at)
  if found[1] then mine = found[1][2][2] end
  if mine == ARGV[5] and position <= record.head then
    entries = redis.call('XRANGE', ENTRIES, '(' .. at, '+', 'COUNT', ARGV[6])

    if wanted == 'reading' then
      return {seconds, microseconds, running, record.epoch, whole(record.head), record.head_id, whole(record.floor), record.complete_since, mine, '', entries}
    end

    -- W1: a member stays one; whoever is not becomes one only at the head.
    local old = redis.call('HGET', WORKERS, incarnation) or ''
    local was, old_epoch, old_position, renewals = string.match(old, '^(%S+) (%S+) (%d+) %d+ (%d+)')
    local is_member = old_epoch == record.epoch and (was == 'live' or was == 'draining')
    granted = 'joining'
    if wanted ~= 'joining' and (is_member or position == record.head) then granted = wanted end
    redis.call('HSET', WORKERS, incarnation, table.concat(
      {granted, record.epoch, whole(position), ARGV[7], whole((tonumber(renewals) or 0) + 1), whole(seconds), ARGV[8]}, ' '))
    if old_epoch ~= record.epoch or tonumber(old_position) < position then
      redis.call('PUBLISH', ACKS, incarnation .. ' ' .. record.epoch .. ' ' .. whole(position))
    end

    if granted ~= 'joining' then
      if record.run_id ~= running then redis.call('HSET', RECORD, 'run_id', running) end
      if tonumber(ARGV[9]) > tonumber(record.complete_since) then redis.call('HSET', RECORD, 'complete_since', ARGV[9]) end
    end
  end
end
return {seconds, microseconds, running, record.epoch, whole(record.head), record.head_id, whole(record.floor), record.complete_since, mine, granted, entries}
