/** The service layer: queue, loop thread, events. */
@NullMarked
package dev.gregale.engine;

import org.jspecify.annotations.NullMarked;
