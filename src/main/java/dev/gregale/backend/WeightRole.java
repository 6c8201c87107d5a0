package dev.gregale.backend;

/** What a weight is for, so that a backend can choose its layout when it is uploaded. */
public enum WeightRole {
  /** Token embeddings {@code [V, D]}, read by row. */
  EMBEDDING,
  /** RMSNorm gains {@code [D]}. */
  NORM,
  /** Queries, keys and values {@code [(H + 2G) d, D]}: a projection whose rows are heads. */
  QKV,
  /** Attention's output projection {@code [D, H d]}: its columns are heads. */
  ATTENTION_OUTPUT,
  /** Any other projection {@code [out, in]}: lm_head. */
  LINEAR,
  /** The router {@code [E, D]}: a projection that is never quantised. */
  ROUTER,
  /** Gate and up of all experts {@code [E, 2I, D]}: per expert, I gate rows and then I up rows. */
  EXPERTS_GATE_UP,
  /** Down of all experts {@code [E, D, I]}. */
  EXPERTS_DOWN,
  /** Cosines and sines {@code [positions, d]}: per position, d/2 cosines and then d/2 sines. */
  ROPE_TABLE
}
