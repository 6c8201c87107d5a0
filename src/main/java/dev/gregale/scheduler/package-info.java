/** Who runs next, in ints only. */
@NullMarked
package dev.gregale.scheduler;

import org.jspecify.annotations.NullMarked;
