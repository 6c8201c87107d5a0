/** The CUDA backend's room: finds and checks the packed kernels. */
@NullMarked
package dev.gregale.backend.cuda;

import org.jspecify.annotations.NullMarked;
