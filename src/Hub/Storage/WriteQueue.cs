namespace Hub.Storage;

/// <summary>
/// Jobs that wait for a <see cref="Writer"/>. Within a team first come is first served; teams take turns, one job each, so that a team's
/// flood fills only what the others leave free of a group. Urgent jobs go first; bulk gets a part of every group, so that neither starves.
/// </summary>
/// <param name="slots">
/// Jobs of one team and urgency that are still written when the queue is closed. Each job has a caller that waits for it, so the lines behind
/// the slots are as long as the callers are many: calls in flight, and of every link the frames it may apply at once.
/// </param>
internal sealed class WriteQueue(int slots) : IDisposable
{
    private readonly Lock _gate = new();

    // Set while there is something to take, or nothing will ever come.
    private readonly ManualResetEventSlim _ready = new();

    private readonly Lines _urgent = new();

    private readonly Lines _bulk = new();

    private bool _closed;

    /// <summary>Jobs that have a slot.</summary>
    public int Count
    {
        get
        {
            lock (_gate)
            {
                return _urgent.Count(slots) + _bulk.Count(slots);
            }
        }
    }

    /// <returns>False once the queue is closed.</returns>
    public bool TryAdd(WriteJob job)
    {
        lock (_gate)
        {
            if (_closed)
            {
                return false;
            }

            (job.IsBulk ? _bulk : _urgent).Add(job);
            _ready.Set();
            return true;
        }
    }

    /// <summary>Waits for jobs and starts the next group's.</summary>
    /// <param name="group">Empty; takes at most <paramref name="max"/> jobs, the urgent ones first.</param>
    /// <param name="bulkMax">Bulk jobs among them, at least one.</param>
    /// <returns>False once the queue is closed and empty.</returns>
    public bool Take(List<WriteJob> group, int max, int bulkMax)
    {
        while (true)
        {
            _ready.Wait();
            lock (_gate)
            {
                _urgent.Take(group, _bulk.IsEmpty ? max : max - 1);
                _bulk.Take(group, Math.Min(group.Count + bulkMax, max));
                if (group.Count > 0)
                {
                    return true;
                }

                if (_closed)
                {
                    return false;
                }

                _ready.Reset(); // Whatever was here, its callers have given it up.
            }
        }
    }

    /// <summary>Puts jobs that were taken and did not run before those that came after them. Teams that had a turn come last.</summary>
    /// <param name="jobs">In the order they were taken in.</param>
    /// <param name="ran">Teams of which jobs ran.</param>
    public void Return(IReadOnlyList<WriteJob> jobs, IReadOnlySet<TeamScope> ran)
    {
        foreach (var job in jobs)
        {
            job.Return();
        }

        lock (_gate)
        {
            _urgent.Return(jobs.Where(job => !job.IsBulk), ran);
            _bulk.Return(jobs.Where(job => job.IsBulk), ran);
            _ready.Set();
        }
    }

    /// <summary>Whether anything waits but bulk of this team.</summary>
    public bool HasOthers(TeamScope team)
    {
        lock (_gate)
        {
            return !_urgent.IsEmpty || _bulk.HasOthers(team);
        }
    }

    /// <summary>Takes no more jobs.</summary>
    /// <returns>Those without a slot, which are not written.</returns>
    public IReadOnlyList<WriteJob> Close()
    {
        lock (_gate)
        {
            _closed = true;
            _ready.Set();
            return [.. _urgent.CutBehind(slots), .. _bulk.CutBehind(slots)];
        }
    }

    public void Dispose() => _ready.Dispose();

    /// <summary>One line per team that has jobs waiting, in the order of their turns. Guarded by the queue's lock.</summary>
    private sealed class Lines
    {
        private readonly Dictionary<TeamScope, Queue<WriteJob>> _lines = [];

        private readonly Queue<TeamScope> _turns = new();

        public bool IsEmpty => _lines.Count == 0;

        public int Count(int perTeamMax) => _lines.Values.Sum(line => Math.Min(line.Count, perTeamMax));

        public void Add(WriteJob job)
        {
            if (!_lines.TryGetValue(job.Scope, out var line))
            {
                _lines[job.Scope] = line = new Queue<WriteJob>();
                _turns.Enqueue(job.Scope);
            }

            line.Enqueue(job);
        }

        public bool HasOthers(TeamScope team) => _lines.Count > (_lines.ContainsKey(team) ? 1 : 0);

        public void Return(IEnumerable<WriteJob> jobs, IReadOnlySet<TeamScope> ran)
        {
            var returned = jobs.GroupBy(job => job.Scope).ToArray();
            foreach (var team in returned)
            {
                _lines[team.Key] = new Queue<WriteJob>(_lines.TryGetValue(team.Key, out var line) ? team.Concat(line) : team);
            }

            var turns = returned.Select(team => team.Key).Union(_turns).OrderBy(ran.Contains).ToArray();
            _turns.Clear();
            foreach (var team in turns)
            {
                _turns.Enqueue(team);
            }
        }

        /// <summary>Adds jobs that their callers still want, until the group has <paramref name="groupMax"/>.</summary>
        public void Take(List<WriteJob> group, int groupMax)
        {
            while (group.Count < groupMax && _turns.TryDequeue(out var team))
            {
                var line = _lines[team];
                var job = line.Dequeue();
                if (line.Count > 0)
                {
                    _turns.Enqueue(team);
                }
                else
                {
                    _lines.Remove(team);
                }

                if (job.TryStart())
                {
                    group.Add(job);
                }
            }
        }

        public List<WriteJob> CutBehind(int perTeamMax)
        {
            var cut = new List<WriteJob>();
            foreach (var (team, line) in _lines.Where(pair => pair.Value.Count > perTeamMax).ToArray())
            {
                var jobs = line.ToArray();
                _lines[team] = new Queue<WriteJob>(jobs[..perTeamMax]);
                cut.AddRange(jobs[perTeamMax..]);
            }

            return cut;
        }
    }
}
