#pragma once

#include "prefill_kernels.cuh"

enum class Routing { kBalanced, kRandom, kSkewed };

// Expert ids [T, K], the K of a token distinct.
std::vector<int> route(Routing routing, int tokens, int experts, int slots, uint64_t seed);

// Runs and prints every check; failures() counts those that fail.
void check_all(uint64_t seed);
