/** What a request asks of sampling, and when it stops. */
@NullMarked
package dev.gregale.sampling;

import org.jspecify.annotations.NullMarked;
