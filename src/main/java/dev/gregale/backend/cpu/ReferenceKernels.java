package dev.gregale.backend.cpu;

import static dev.gregale.backend.cpu.CodedWeight.inputs;
import static dev.gregale.backend.cpu.CpuTensor.floats;
import static dev.gregale.backend.cpu.CpuTensor.ints;

import dev.gregale.backend.AttentionShape;
import dev.gregale.backend.ExpertRouting;
import dev.gregale.backend.ForwardBatch;
import dev.gregale.backend.Kernels;
import dev.gregale.backend.KvLayer;
import dev.gregale.backend.SamplingInputs;
import dev.gregale.backend.SamplingOutputs;
import dev.gregale.backend.Tensor;
import java.util.Arrays;

/**
 * Every op as plain loops over dense fp32 arrays: the oracle that other kernels are held against.
 * Written to be checked by eye, not to be fast. Sums run in double, so that a disagreement is never
 * this side's rounding.
 */
final class ReferenceKernels implements Kernels {
  private final TokenSampler sampler = new TokenSampler();

  @Override
  public void gatherTokens(Tensor tokenIds, Tensor sources, Tensor drawn, int vocabSize, int rows) {
    IdOps.gatherTokens(ints(tokenIds), ints(sources), ints(drawn), vocabSize, rows);
  }

  @Override
  public void dispatch(
      Tensor localIds, Tensor expertIds, int firstExpert, int numExperts, int rows) {
    int choices = rows * expertIds.shape().intDim(1);
    IdOps.dispatch(ints(localIds), ints(expertIds), firstExpert, numExperts, choices);
  }

  @Override
  public void embed(Tensor out, Tensor table, ForwardBatch batch) {
    gatherRows(out, table, batch.tokenIds(), batch.numTokens());
  }

  @Override
  public void rmsNorm(Tensor out, Tensor x, Tensor weight, float eps, int rows) {
    float[] o = floats(out); // [rows, D]
    float[] in = floats(x); // [rows, D]
    float[] gain = floats(weight); // [D]
    int width = gain.length;
    for (int row = 0; row < rows; row++) {
      double sumOfSquares = 0;
      for (int i = 0; i < width; i++) {
        double value = in[row * width + i];
        sumOfSquares += value * value;
      }
      double scale = 1 / Math.sqrt(sumOfSquares / width + eps);
      for (int i = 0; i < width; i++) {
        o[row * width + i] = (float) (in[row * width + i] * scale * gain[i]);
      }
    }
  }

  @Override
  public void add(Tensor residual, Tensor x, int rows) {
    float[] sum = floats(residual); // [rows, D]
    float[] in = floats(x); // [rows, D]
    int count = rows * residual.shape().intDim(1);
    for (int i = 0; i < count; i++) {
      sum[i] += in[i];
    }
  }

  @Override
  public void matmul(Tensor out, Tensor x, Tensor weight, int rows) {
    int n = weight.shape().intDim(0);
    int m = weight.shape().intDim(1);
    float[] inputs = inputs(weight, floats(x), rows);
    for (int row = 0; row < rows; row++) {
      matvec(floats(out), row * n, inputs, row * m, WeightElements.of(weight), 0, n, m);
    }
  }

  /** out[0..n) = w[n, m] * x[0..m), each from its own offset, of the weight in rows. */
  private static void matvec(
      float[] out,
      int outStart,
      float[] x,
      int xStart,
      WeightElements w,
      int firstRow,
      int n,
      int m) {
    for (int j = 0; j < n; j++) {
      double sum = 0;
      for (int i = 0; i < m; i++) {
        sum += (double) x[xStart + i] * w.at(firstRow + j, i);
      }
      out[outStart + j] = (float) sum;
    }
  }

  @Override
  public void ropeAndCacheKv(
      Tensor qkv, KvLayer kv, Tensor ropeTable, AttentionShape shape, ForwardBatch batch) {
    float[] rows = floats(qkv); // [T, (H + 2G) d]
    float[] table = floats(ropeTable); // [positions, d]
    ReferenceKvLayer cache = (ReferenceKvLayer) kv;
    int[] positions = ints(batch.positions());
    int[] slots = ints(batch.slotMapping());
    int d = shape.headDim();
    int kvWidth = shape.numKvHeads() * d;
    for (int t = 0; t < batch.numTokens(); t++) {
      int row = t * shape.qkvWidth();
      for (int head = 0; head < shape.numHeads() + shape.numKvHeads(); head++) {
        rotate(rows, row + head * d, table, positions[t] * d, d / 2);
      }
      if (slots[t] >= 0) {
        int keys = row + shape.numHeads() * d;
        cache.put(slots[t], rows, keys, kvWidth);
      }
    }
  }

  /** (a, b) becomes (a cos - b sin, b cos + a sin) for each pair (i, i + half). */
  private static void rotate(float[] head, int start, float[] table, int angles, int half) {
    for (int i = 0; i < half; i++) {
      float cos = table[angles + i];
      float sin = table[angles + half + i];
      float a = head[start + i];
      float b = head[start + half + i];
      head[start + i] = a * cos - b * sin;
      head[start + half + i] = b * cos + a * sin;
    }
  }

  @Override
  public void pagedAttention(
      Tensor out, Tensor qkv, KvLayer kv, AttentionShape shape, ForwardBatch batch) {
    int[] cuSeqLens = ints(batch.cuSeqLens());
    int[] contextLens = ints(batch.contextLens());
    for (int s = 0; s < batch.numSeqs(); s++) {
      int firstPosition = contextLens[s] - (cuSeqLens[s + 1] - cuSeqLens[s]);
      for (int t = cuSeqLens[s]; t < cuSeqLens[s + 1]; t++) {
        int position = firstPosition + t - cuSeqLens[s];
        for (int head = 0; head < shape.numHeads(); head++) {
          attend(
              floats(out), floats(qkv), (ReferenceKvLayer) kv, shape, batch, s, t, position, head);
        }
      }
    }
  }

  private static void attend(
      float[] out,
      float[] qkv,
      ReferenceKvLayer kv,
      AttentionShape shape,
      ForwardBatch batch,
      int sequence,
      int token,
      int position,
      int head) {
    int d = shape.headDim();
    int group = head / (shape.numHeads() / shape.numKvHeads());
    int query = token * shape.qkvWidth() + head * d;
    int first = shape.firstVisible(position);
    double[] scores = new double[position + 1 - first];
    int[] rows = new int[scores.length];
    for (int p = first; p <= position; p++) {
      rows[p - first] = (slot(batch, kv, sequence, p) * shape.numKvHeads() + group) * d;
      for (int i = 0; i < d; i++) {
        scores[p - first] += (double) qkv[query + i] * kv.keys()[rows[p - first] + i];
      }
      scores[p - first] *= shape.scale();
    }
    softmax(scores);
    for (int i = 0; i < d; i++) {
      double sum = 0;
      for (int j = 0; j < scores.length; j++) {
        sum += scores[j] * kv.values()[rows[j] + i];
      }
      out[(token * shape.numHeads() + head) * d + i] = (float) sum;
    }
  }

  private static int slot(ForwardBatch batch, KvLayer kv, int sequence, int position) {
    int maxBlocks = batch.blockTables().shape().intDim(1);
    int block = ints(batch.blockTables())[sequence * maxBlocks + position / kv.blockSize()];
    return block * kv.blockSize() + position % kv.blockSize();
  }

  private static void softmax(double[] values) {
    double max = Arrays.stream(values).max().orElseThrow();
    double sum = 0;
    for (int i = 0; i < values.length; i++) {
      values[i] = Math.exp(values[i] - max);
      sum += values[i];
    }
    for (int i = 0; i < values.length; i++) {
      values[i] /= sum;
    }
  }

  @Override
  public void routeTopK(ExpertRouting routing, Tensor routerLogits, int rows) {
    int numExperts = routerLogits.shape().intDim(1);
    int k = routing.expertIds().shape().intDim(1);
    float[] logits = floats(routerLogits); // [rows, E]
    for (int row = 0; row < rows; row++) {
      double[] probabilities = new double[numExperts];
      for (int e = 0; e < numExperts; e++) {
        probabilities[e] = logits[row * numExperts + e];
      }
      softmax(probabilities);
      route(routing, row * k, k, probabilities, logits, row * numExperts);
    }
  }

  /**
   * Compares logits, not probabilities: two that round to the same probability keep their order.
   */
  private static void route(
      ExpertRouting routing, int start, int k, double[] probabilities, float[] logits, int row) {
    boolean[] taken = new boolean[probabilities.length];
    double sum = 0;
    for (int slot = 0; slot < k; slot++) {
      int best = -1;
      for (int e = 0; e < probabilities.length; e++) {
        if (!taken[e] && (best < 0 || logits[row + e] > logits[row + best])) {
          best = e;
        }
      }
      taken[best] = true;
      ints(routing.expertIds())[start + slot] = best;
      sum += probabilities[best];
    }
    for (int slot = 0; slot < k; slot++) {
      int expert = ints(routing.expertIds())[start + slot];
      floats(routing.expertWeights())[start + slot] = (float) (probabilities[expert] / sum);
    }
  }

  @Override
  public void expertFeedForward(
      Tensor out, Tensor x, ExpertRouting routing, Tensor gateUp, Tensor down, int rows) {
    int hidden = down.shape().intDim(1);
    int intermediate = down.shape().intDim(2);
    int k = routing.expertIds().shape().intDim(1);
    float[] inputs = inputs(gateUp, floats(x), rows);
    WeightElements first = WeightElements.of(gateUp);
    float[] gateAndUp = new float[2 * intermediate];
    float[] answer = new float[hidden];
    for (int t = 0; t < rows; t++) {
      double[] sum = new double[hidden];
      for (int slot = 0; slot < k; slot++) {
        int expert = ints(routing.expertIds())[t * k + slot];
        if (expert < 0) {
          continue; // another rank's
        }
        float weight = floats(routing.expertWeights())[t * k + slot];
        int firstRow = expert * 2 * intermediate;
        matvec(gateAndUp, 0, inputs, t * hidden, first, firstRow, 2 * intermediate, hidden);
        for (int i = 0; i < intermediate; i++) {
          double gate = gateAndUp[i];
          gateAndUp[i] = (float) (gate / (1 + Math.exp(-gate)) * gateAndUp[intermediate + i]);
        }
        float[] activated = inputs(down, gateAndUp, 1);
        matvec(
            answer,
            0,
            activated,
            0,
            WeightElements.of(down),
            expert * hidden,
            hidden,
            intermediate);
        for (int i = 0; i < hidden; i++) {
          sum[i] += (double) weight * answer[i];
        }
      }
      for (int i = 0; i < hidden; i++) {
        floats(out)[t * hidden + i] = (float) sum[i];
      }
    }
  }

  @Override
  public void gatherRows(Tensor out, Tensor x, Tensor rowIds, int rows) {
    int width = x.shape().intDim(1);
    for (int row = 0; row < rows; row++) {
      System.arraycopy(floats(x), ints(rowIds)[row] * width, floats(out), row * width, width);
    }
  }

  @Override
  public void sample(SamplingOutputs out, Tensor logits, SamplingInputs in, int rows) {
    int vocabSize = logits.shape().intDim(1);
    for (int row = 0; row < rows; row++) {
      sampler.sample(out, floats(logits), vocabSize, in, row);
    }
  }
}
