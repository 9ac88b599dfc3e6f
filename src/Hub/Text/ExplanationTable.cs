using Google.Protobuf.WellKnownTypes;
using Hub.Contracts.V1;
using Hub.Storage;

namespace Hub.Text;

/// <summary>What a state with its reason means in words, and what to do.</summary>
internal sealed class ExplanationTable<TState, TReason>(
    IReadOnlyDictionary<(TState State, TReason Reason), (string Sentence, string NextStep)> rows)
    where TState : struct, System.Enum
    where TReason : struct, System.Enum
{
    /// <summary>The pairs that have a row of their own.</summary>
    public IEnumerable<(TState State, TReason Reason)> Known => rows.Keys;

    public Explanation Of(TState state, TReason reason, Timestamp since)
    {
        // A pair without a row cannot be reached; its state's first row is nearer to the truth than a failure.
        var (sentence, nextStep) = rows.TryGetValue((state, reason), out var row)
            ? row
            : rows.First(pair => EqualityComparer<TState>.Default.Equals(pair.Key.State, state)).Value;
        return new Explanation
        {
            State = EnumText<TState>.Of(state),
            Reason = EnumText<TReason>.Of(reason),
            Since = since,
            Sentence = sentence,
            NextStep = nextStep,
        };
    }
}
