/** Element types, shapes and tensors in host memory. */
@NullMarked
package dev.gregale.tensor;

import org.jspecify.annotations.NullMarked;
