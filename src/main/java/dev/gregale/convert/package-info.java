/** Checkpoints from one layout to another, as files, without a model. */
@NullMarked
package dev.gregale.convert;

import org.jspecify.annotations.NullMarked;
