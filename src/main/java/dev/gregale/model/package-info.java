/** Mixtral on one page, its weights, cache and batches. */
@NullMarked
package dev.gregale.model;

import org.jspecify.annotations.NullMarked;
