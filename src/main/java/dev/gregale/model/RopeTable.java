package dev.gregale.model;

/**
 * Rotary angles (Su et al. 2021) as Hugging Face computes them: inverse frequencies, and their
 * product with the position, rounded to fp32 before cosine and sine are taken.
 */
final class RopeTable {

  private RopeTable() {}

  /** theta^(-2i/d) for i below d/2: {@code [d/2]}. */
  static float[] inverseFrequencies(double theta, int headDim) {
    float[] inverse = new float[headDim / 2];
    for (int i = 0; i < inverse.length; i++) {
      float exponent = (float) (2 * i) / headDim;
      inverse[i] = 1f / (float) Math.pow(theta, exponent);
    }
    return inverse;
  }

  /** Per position, d/2 cosines and then d/2 sines: {@code [positions, d]}. */
  static float[] cosinesAndSines(double theta, int headDim, int positions) {
    float[] inverse = inverseFrequencies(theta, headDim);
    int half = headDim / 2;
    float[] table = new float[Math.multiplyExact(positions, headDim)];
    for (int position = 0; position < positions; position++) {
      for (int i = 0; i < half; i++) {
        float angle = position * inverse[i];
        table[position * headDim + i] = (float) Math.cos(angle);
        table[position * headDim + half + i] = (float) Math.sin(angle);
      }
    }
    return table;
  }
}
