// in0 + in1 * 2**SHIFT1 (or minus, IS_SUB), without its DROP_LSBS lowest bits, BW_OUT bits of it.
//
// Takes the place of alkaid's module of this name and parameters. One carry chain whatever the
// shift: where in1 alone has low bits, a difference goes through it too, instead of a negation, a
// borrow and a second subtraction.
`timescale 1 ns / 1 ps
module shift_adder #(
    parameter BW_INPUT0 = 32,
    parameter BW_INPUT1 = 32,
    parameter SIGNED0 = 0,
    parameter SIGNED1 = 0,
    parameter BW_OUT = 32,
    parameter DROP_LSBS = 0,
    parameter SHIFT1 = 0,
    parameter IS_SUB = 0
) (
    input  wire [BW_INPUT0-1:0] in0,
    input  wire [BW_INPUT1-1:0] in1,
    output wire [BW_OUT-1:0] out
);

    localparam PAD0 = (SHIFT1 < 0) ? -SHIFT1 : 0;
    localparam PAD1 = (SHIFT1 > 0) ? SHIFT1 : 0;
    // Only these bits of the sum are asked for; a sum's low bits depend on no higher ones.
    localparam BITS = BW_OUT + DROP_LSBS;
    // Below START one operand alone has bits, and they are the sum's.
    localparam LONE = (PAD1 > 0) ? PAD1 : (IS_SUB == 0) ? PAD0 : 0;
    localparam START = (LONE < BITS) ? LONE : BITS;
    localparam WIDE = BITS + BW_INPUT0 + BW_INPUT1 + PAD0 + PAD1;

    wire fill0 = (SIGNED0 == 1) ? in0[BW_INPUT0-1] : 1'b0;
    wire fill1 = (SIGNED1 == 1) ? in1[BW_INPUT1-1] : 1'b0;
    wire [WIDE-1:0] a = {{(WIDE - BW_INPUT0){fill0}}, in0} << PAD0;
    wire [WIDE-1:0] b = {{(WIDE - BW_INPUT1){fill1}}, in1} << PAD1;
    wire [BITS-1:0] sum;

    generate
        if (START > 0) begin : lone
            assign sum[START-1:0] = (PAD1 > 0) ? a[START-1:0] : b[START-1:0];
        end
        if (START < BITS) begin : chain
            assign sum[BITS-1:START] = (IS_SUB == 1) ? a[BITS-1:START] - b[BITS-1:START]
                                                     : a[BITS-1:START] + b[BITS-1:START];
        end
    endgenerate

    assign out = sum[BITS-1:DROP_LSBS];

endmodule
