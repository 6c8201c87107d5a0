/** The seam between the model and the machine: ops, opaque tensors, recorded steps. */
@NullMarked
package dev.gregale.backend;

import org.jspecify.annotations.NullMarked;
