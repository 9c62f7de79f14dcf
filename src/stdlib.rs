//! The standard library, which is written in the language itself and carried inside the compiler.

/// Every file of `stdlib/` by the name that diagnostics show.
pub static FILES: &[(&str, &str)] = &[
    ("std/nn.blk", include_str!("../stdlib/nn.blk")),
    ("std/conv.blk", include_str!("../stdlib/conv.blk")),
    ("std/norm.blk", include_str!("../stdlib/norm.blk")),
    ("std/activation.blk", include_str!("../stdlib/activation.blk")),
    ("std/loss.blk", include_str!("../stdlib/loss.blk")),
    ("std/init.blk", include_str!("../stdlib/init.blk")),
    ("std/optim.blk", include_str!("../stdlib/optim.blk")),
    ("std/schedule.blk", include_str!("../stdlib/schedule.blk")),
    ("std/vgg.blk", include_str!("../stdlib/vgg.blk")),
    ("std/resnet.blk", include_str!("../stdlib/resnet.blk")),
];
