-- One atomic look at the log: lease renewal, continuity, what is new, head, time [L2, L3].
-- ARGV: incarnation, wanted state, epoch, position, id at the position, how many entries, staleness_ms, label, complete_since at least, the register
-- that the worker knows, "patient" when it has waited for those who are missing, "durable" when the server never loses what it answered for.
-- Without an epoch it only looks; with the state "reading" it reads without a lease, which proves nothing and costs no flush. The lease is written, and membership granted, only when the entry at the position is the one the worker applied.
if not is_master() then return redis.error_reply('READONLY this server is not a master') end
local seconds, microseconds = server_time()
local running = run_id()
local record = read_record()
if not record then return {seconds, microseconds, running} end

-- Another run of the server may have dropped its last entries, and a worker that had not seen them cannot miss them. So nobody is live on it until
-- all members were heard or have stopped themselves [L5]; during a merge all have to merge again. Uses of one-time tokens have no
-- entries that would show that they are missing: so what was issued until now serves nothing once any more [T5].
local waited_for = string.match(record.waiting, '(%S*)$')
local function tell_uses_lost()
  record.uses_since = whole(seconds + 1)
  redis.call('HSET', RECORD, 'uses_since', record.uses_since)
end
if record.phase == 'merge' and waited_for ~= running then
  each_worker(function(incarnation, line)
    if line.state == 'merged' then
      line.state = 'missing'
      write_line(incarnation, line)
    end
  end)
  redis.call('HDEL', RECORD, 'claim', 'fresh')
  wait_for_missing(record, 'merge', running, 0)
  tell_uses_lost()
elseif record.phase ~= 'merge' and record.run_id ~= running and waited_for ~= running then
  if ARGV[12] == 'durable' then
    redis.call('HSET', RECORD, 'run_id', running)
    redis.call('HDEL', RECORD, 'waiting', 'phase')
    record.waiting = ''
  else
    each_worker(function(incarnation, line)
      if line.state == 'live' or line.state == 'draining' then
        line.state = 'missing'
        write_line(incarnation, line)
      end
    end)
    wait_for_missing(record, 'confirm', running, 0)
    tell_uses_lost()
  end
end

local function open_when_all_were_heard()
  local missing = {}
  each_worker(function(incarnation, line)
    if line.state == 'missing' then missing[#missing + 1] = incarnation end
  end)
  if #missing > 0 and ARGV[11] ~= 'patient' then return end
  if record.phase == 'merge' then
    local found = redis.call('HMGET', RECORD, 'claim', 'fresh')
    if found[1] and (found[2] or #missing == 0) then
      record.complete_since = found[1]
      redis.call('HSET', RECORD, 'complete_since', record.complete_since)
    end
    -- What was merged has no entries. This one stands for all: a server that restarts without the last of it lacks this one too [L2].
    append(record, string.sub(redis.sha1hex(ARGV[1] .. record.epoch .. record.head_id), 1, 16), 'epoch', NONE, 0, 0, NONE, '', NONE, '')
  end
  if #missing > 0 then redis.call('HDEL', WORKERS, unpack(missing)) end -- they have stopped themselves, and merge when they come
  redis.call('HSET', RECORD, 'run_id', running)
  redis.call('HDEL', RECORD, 'waiting', 'phase', 'claim', 'fresh')
  record.register = tostring(redis.call('HINCRBY', RECORD, 'register', 1))
  record.waiting = ''
end

local incarnation, wanted, position = ARGV[1], ARGV[2], tonumber(ARGV[4])
local mine, granted, entries, members = '', '', {}, {}
local function answer()
  return {seconds, microseconds, running, record.epoch, whole(record.head), record.head_id, whole(record.floor), record.complete_since, mine, granted, entries,
          record.log, record.waiting, record.recovers, record.uses_since, record.register, members}
end

if ARGV[3] == record.epoch then
  local at = position_of(record, position)
  local found = redis.call('XRANGE', ENTRIES, at, at)
  if found[1] then mine = found[1][2][2] end
  if mine == ARGV[5] and position <= record.head then
    entries = redis.call('XRANGE', ENTRIES, '(' .. at, '+', 'COUNT', ARGV[6])
    if wanted == 'reading' then return answer() end

    local old = redis.call('HGET', WORKERS, incarnation) or ''
    local was, old_epoch, old_position, renewals = string.match(old, '^(%S+) (%S+) (%d+) %d+ (%d+)')
    local function register(state)
      redis.call('HSET', WORKERS, incarnation, table.concat(
        {state, record.epoch, whole(position), ARGV[7], whole((tonumber(renewals) or 0) + 1), whole(seconds), ARGV[8]}, ' '))
      if state ~= was then record.register = tostring(redis.call('HINCRBY', RECORD, 'register', 1)) end
      was = state
    end
    -- W1: a member stays one; whoever is not becomes one only at the head.
    local is_member = old_epoch == record.epoch and (was == 'live' or was == 'draining')
    if record.waiting ~= '' then
      if was == 'missing' then register('merged') end
      open_when_all_were_heard()
    end
    granted = 'joining'
    if record.waiting == '' and wanted ~= 'joining' and (is_member or position == record.head) then granted = wanted end
    if record.waiting ~= '' and was == 'merged' then register('merged') else register(granted) end
    if old_epoch ~= record.epoch or tonumber(old_position) < position then
      redis.call('PUBLISH', ACKS, incarnation .. ' ' .. record.epoch .. ' ' .. whole(position))
    end
    if granted ~= 'joining' and tonumber(ARGV[9]) > tonumber(record.complete_since) then redis.call('HSET', RECORD, 'complete_since', ARGV[9]) end
  end
elseif record.waiting ~= '' then
  open_when_all_were_heard()
end
if ARGV[10] ~= record.register then members = redis.call('HGETALL', WORKERS) end
return answer()
