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
            _urgent.Return([.. jobs.Where(job => !job.IsBulk)], ran);
            _bulk.Return([.. jobs.Where(job => job.IsBulk)], ran);
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
        private readonly Dictionary<TeamScope, Line> _lines = [];

        private readonly LinkedList<Line> _turns = new();

        public bool IsEmpty => _lines.Count == 0;

        public int Count(int perTeamMax) => _lines.Values.Sum(line => Math.Min(line.Count, perTeamMax));

        public void Add(WriteJob job) => LineOf(job.Scope).Add(job);

        public bool HasOthers(TeamScope team) => _lines.Count > (_lines.ContainsKey(team) ? 1 : 0);

        /// <param name="jobs">Their number is all that this takes time for: how long the lines are does not count.</param>
        public void Return(IReadOnlyList<WriteJob> jobs, IReadOnlySet<TeamScope> ran)
        {
            foreach (var team in ran)
            {
                if (_lines.TryGetValue(team, out var line))
                {
                    _turns.Remove(line.Turn);
                    _turns.AddLast(line.Turn);
                }
            }

            foreach (var job in jobs.Reverse())
            {
                var line = LineOf(job.Scope);
                line.Return(job);
                if (!ran.Contains(job.Scope))
                {
                    _turns.Remove(line.Turn);
                    _turns.AddFirst(line.Turn);
                }
            }
        }

        /// <summary>Adds jobs that their callers still want, until the group has <paramref name="groupMax"/>.</summary>
        public void Take(List<WriteJob> group, int groupMax)
        {
            while (group.Count < groupMax && _turns.First is { Value: var line })
            {
                var job = line.Take();
                _turns.RemoveFirst();
                if (line.Count > 0)
                {
                    _turns.AddLast(line.Turn);
                }
                else
                {
                    _lines.Remove(line.Team);
                }

                if (job.TryStart())
                {
                    group.Add(job);
                }
            }
        }

        public List<WriteJob> CutBehind(int perTeamMax) => [.. _lines.Values.SelectMany(line => line.CutBehind(perTeamMax))];

        private Line LineOf(TeamScope team)
        {
            if (!_lines.TryGetValue(team, out var line))
            {
                _lines[team] = line = new Line(team);
                _turns.AddLast(line.Turn);
            }

            return line;
        }
    }

    /// <summary>The jobs of a team: those that were taken and came back, then the others.</summary>
    private sealed class Line
    {
        private readonly Stack<WriteJob> _returned = new();

        private Queue<WriteJob> _others = new();

        public Line(TeamScope team) => (Team, Turn) = (team, new LinkedListNode<Line>(this));

        public TeamScope Team { get; }

        public LinkedListNode<Line> Turn { get; }

        public int Count => _returned.Count + _others.Count;

        public void Add(WriteJob job) => _others.Enqueue(job);

        public void Return(WriteJob job) => _returned.Push(job);

        public WriteJob Take() => _returned.TryPop(out var job) ? job : _others.Dequeue();

        public IEnumerable<WriteJob> CutBehind(int max)
        {
            var jobs = _returned.Concat(_others).ToArray();
            _returned.Clear();
            _others = new Queue<WriteJob>(jobs.Take(max));
            return jobs.Skip(max);
        }
    }
}
