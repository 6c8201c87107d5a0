package dev.gregale.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.gregale.engine.GenerationEvent.Finished;
import dev.gregale.sampling.FinishReason;
import dev.gregale.sampling.SamplingParamsBuilder;
import dev.gregale.sampling.TokenConstraint;
import dev.gregale.sampling.TokenMatcher;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Sequences under a constraint that depends on every token before. */
class ConstrainedEngineTest extends EngineFixture {
  private static final int LENGTH = 20;
  private static final int MODULUS = 7;

  /** Each token is, modulo 7, the sum of those before; after so many comes the end. */
  private record Sums(int vocabSize, int length) implements TokenConstraint {
    @Override
    public TokenMatcher newMatcher() {
      return new SumMatcher(this);
    }
  }

  private static final class SumMatcher implements TokenMatcher {
    private final Sums constraint;
    private int count;
    private int sum;

    SumMatcher(Sums constraint) {
      this.constraint = constraint;
    }

    @Override
    public int maskWords() {
      return (constraint.vocabSize() + 31) / 32;
    }

    @Override
    public void writeMask(int[] masks, int offset) {
      for (int word = 0; word < maskWords(); word++) {
        masks[offset + word] = 0;
      }
      for (int token = 0; token < constraint.vocabSize(); token++) {
        masks[offset + token / 32] |= allows(token) ? 1 << token % 32 : 0;
      }
    }

    @Override
    public boolean allows(int token) {
      return count == constraint.length()
          ? token == EOS
          : token != EOS && token % MODULUS == sum % MODULUS;
    }

    @Override
    public void accept(int token) {
      assertThat(allows(token)).isTrue();
      count++;
      sum += token;
    }
  }

  private static SamplingParamsBuilder constrained(int maxTokens) {
    return params(maxTokens).ignoreEos(false).structuredOutput(new Sums(FakeModel.VOCAB, LENGTH));
  }

  private static void assertSums(int[] tokens) {
    int sum = 0;
    for (int token : tokens) {
      assertThat(token % MODULUS).isEqualTo(token == EOS ? EOS % MODULUS : sum % MODULUS);
      sum += token;
    }
  }

  /** Beside others, and with too few blocks for all of them. */
  @Test
  void everyTokenIsAllowedAfterThoseBefore() {
    use(limits(8, 30, 20));
    AsyncLlmEngine engine = start();
    List<Answer> answers = new ArrayList<>();
    for (int i = 0; i < 12; i++) {
      SamplingParamsBuilder params = i % 3 == 0 ? params(30) : constrained(60);
      answers.add(send(engine, request(params.seed((long) i), 1 + i, 2)));
    }
    for (int i = 0; i < 12; i++) {
      List<GenerationEvent> events = answers.get(i).join();
      int[] tokens = tokens(events, 0);
      if (i % 3 == 0) {
        assertThat(tokens).isEqualTo(FakeModel.generates(new int[] {1 + i, 2}, i, 30));
      } else {
        assertSums(tokens);
        assertThat(tokens).hasSize(LENGTH + 1).endsWith(EOS);
        assertThat(((Finished) events.getLast()).reason()).isEqualTo(FinishReason.STOP);
      }
    }
    assertThat(counter("gregale.preemptions")).isPositive();
    awaitAllFree();
  }

  @Test
  void maxTokensCutItOff() {
    List<GenerationEvent> events = all(start(), request(constrained(5), 3));
    assertSums(tokens(events, 0));
    assertThat(events.getLast()).isEqualTo(new Finished(0, FinishReason.LENGTH, 1, 0, 5));
  }

  /** As where all logits are NaN. */
  @Test
  void aTokenThatIsNotAllowedFailsItsRequestAlone() {
    AsyncLlmEngine engine = start();
    model.onTokens = tokens -> tokens[0] = EOS;
    assertThatThrownBy(() -> all(engine, request(constrained(5), 3)))
        .isInstanceOf(EngineUnavailableException.class);
    model.onTokens = tokens -> {};
    assertSums(tokens(all(engine, request(constrained(5), 3)), 0));
    awaitAllFree();
  }

  @Test
  void whatCannotBeIsRefused() {
    AsyncLlmEngine engine = start();
    assertThatThrownBy(() -> all(engine, request(constrained(5).ignoreEos(true), 3)))
        .hasMessage("ignore_eos does not go with structured output");
    SamplingParamsBuilder other = params(5).ignoreEos(false).structuredOutput(new Sums(7, 1));
    assertThatThrownBy(() -> all(engine, request(other, 3)))
        .hasMessage(
            "the structured output is made for a vocabulary of 7 tokens, but this model has 500");
  }
}
