/** TransformerEngine's FP8 recipes for inference: from fp32 values to E4M3 codes and scales. */
@NullMarked
package dev.gregale.quantization;

import org.jspecify.annotations.NullMarked;
