# Builds the decode bench, and the decode step's experts as a library for bench/peers, for Hopper:
# `make -f bench/decode.mk OUT=DIR` from native-kernels.
NVCC    ?= nvcc
OUT     ?= build
KERNELS := kernels/decode_linear.cu kernels/decode_attention.cu kernels/decode_experts.cu \
           kernels/decode_rows.cu kernels/sm90a/decode_gemm.cu \
           kernels/sm90a/decode_linear_fp8.cu kernels/sm90a/decode_experts_fp8.cu \
           kernels/sm90a/decode_gemm_fp8.cu
TILING  := kernels/sm90a/tiled_weights.cu kernels/sm90a/tiled_weights_fp8.cu
objects = $(patsubst %.cu,$(OUT)/%.o,$(1))
FLAGS   := -std=c++20 -O3 -lineinfo -Iinclude -Ibench -Werror all-warnings -Xcompiler -fPIC \
           -gencode=arch=compute_90a,code=sm_90a

.PHONY: all

all: $(OUT)/decode_bench $(OUT)/libdecode_experts.so

$(OUT)/decode_bench: $(call objects,$(KERNELS) bench/decode_bench.cu)
	$(NVCC) $(FLAGS) -cudart static -o $@ $^

# The runtime is the library's own, whatever version PyTorch has loaded.
$(OUT)/libdecode_experts.so: $(call objects,$(KERNELS) $(TILING) bench/decode_experts_library.cu)
	$(NVCC) $(FLAGS) -shared -cudart static -Xlinker=--exclude-libs=ALL -o $@ $^

$(OUT)/%.o: %.cu $(wildcard include/*.cuh bench/*.cuh)
	@mkdir -p $(dir $@)
	$(NVCC) $(FLAGS) -c -o $@ $<
