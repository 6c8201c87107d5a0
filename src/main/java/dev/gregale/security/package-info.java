/** Who may call, and how often: keys, routes, limits per key. */
@NullMarked
package dev.gregale.security;

import org.jspecify.annotations.NullMarked;
