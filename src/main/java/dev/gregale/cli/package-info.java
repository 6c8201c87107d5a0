/** The command line: serve, bench, inspect, doctor. */
@NullMarked
package dev.gregale.cli;

import org.jspecify.annotations.NullMarked;
