package dev.gregale.engine;

/**
 * What the routing of one token is made of: in each layer the ids of its experts, best first.
 *
 * @param numLayers L
 * @param numExperts E; ids run from 0 to this, exclusive
 * @param numExpertsPerTok K
 */
public record RoutingShape(int numLayers, int numExperts, int numExpertsPerTok) {

  /** L K. */
  public int idsPerToken() {
    return numLayers * numExpertsPerTok;
  }
}
