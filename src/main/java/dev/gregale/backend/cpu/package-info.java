/** The CPU backend: the plain-loop oracle, and the Vector API kernels. */
@NullMarked
package dev.gregale.backend.cpu;

import org.jspecify.annotations.NullMarked;
