/** Several devices as one backend: each rank has its share of the weights and of the cache. */
@NullMarked
package dev.gregale.backend.parallel;

import org.jspecify.annotations.NullMarked;
