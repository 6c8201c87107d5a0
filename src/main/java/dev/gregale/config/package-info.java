/** Wiring only: properties and beans. */
@NullMarked
package dev.gregale.config;

import org.jspecify.annotations.NullMarked;
