/** Gregale: a server for Mixtral-style Mixture-of-Experts models. */
@NullMarked
package dev.gregale;

import org.jspecify.annotations.NullMarked;
