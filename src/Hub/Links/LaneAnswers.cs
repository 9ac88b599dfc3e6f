using Hub.Contracts.V1;

namespace Hub.Links;

/// <summary>
/// Puts the answers to the batches of a lane into the outbox in the order the batches came. Their jobs commit in that order, but what goes on
/// after a commit may overtake, and an acknowledgement is cumulative: one that overtakes would tell the node of an earlier batch that the Hub
/// asks and rejects nothing.
/// </summary>
internal sealed class LaneAnswers(LinkOutbox outbox)
{
    private readonly Lock _gate = new();
    private readonly Dictionary<Lane, Queue<Place>> _lanes = [];

    /// <summary>Called in the order of the batches; each place has to be given up.</summary>
    public Place Take(Lane lane)
    {
        var place = new Place(lane);
        lock (_gate)
        {
            if (!_lanes.TryGetValue(lane, out var places))
            {
                _lanes.Add(lane, places = new Queue<Place>());
            }

            places.Enqueue(place);
        }

        return place;
    }

    /// <summary>Gives the answer, or null if there is none, and with it those that waited for it.</summary>
    public void Give(Place place, BatchAnswer? answer)
    {
        lock (_gate)
        {
            (place.Answer, place.IsGiven) = (answer, true);
            var places = _lanes[place.Lane];
            while (places.TryPeek(out var first) && first.IsGiven)
            {
                places.Dequeue();
                if (first.Answer?.Ack is { } ack)
                {
                    outbox.Acknowledge(ack);
                }
                else if (first.Answer?.Nack is { } nack)
                {
                    outbox.Refuse(nack);
                }
            }
        }
    }

    public sealed class Place(Lane lane)
    {
        internal Lane Lane { get; } = lane;

        internal BatchAnswer? Answer { get; set; }

        internal bool IsGiven { get; set; }
    }
}
