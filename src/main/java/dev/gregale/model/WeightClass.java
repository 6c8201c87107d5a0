package dev.gregale.model;

/** Kinds of weights, as metrics tell them apart. */
public enum WeightClass {
  EMBEDDING,
  ATTENTION,
  EXPERTS,
  ROUTER,
  NORM,
  LM_HEAD
}
