@NullMarked
package dev.gregale.tokenizer;

import org.jspecify.annotations.NullMarked;
