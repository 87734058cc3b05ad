// The short codes that the page shows as emoji. The codes are those of npm’s gemoji 8.1.0;
// the choice is what people write into a status.

const words = `
smile 😄 smiley 😃 rofl 🤣 blush 😊 wink 😉 sunglasses 😎 thinking 🤔 sleeping 😴 sleepy 😪 zzz 💤
face_with_head_bandage 🤕 face_with_thermometer 🤒 mask 😷 nerd_face 🤓 partying_face 🥳 sob 😭 cry 😢
heart_eyes 😍 hugs 🤗 shushing_face 🤫 yawning_face 🥱 exploding_head 🤯 wave 👋 +1 👍 -1 👎 ok_hand 👌
pray 🙏 clap 👏 muscle 💪 eyes 👀 brain 🧠 baby 👶 family 👪 runner 🏃 walking 🚶 technologist 🧑‍💻
coffee ☕ tea 🍵 beer 🍺 wine_glass 🍷 pizza 🍕 hamburger 🍔 fork_and_knife 🍴 birthday 🎂 sandwich 🥪
ramen 🍜 cookie 🍪 popcorn 🍿 palm_tree 🌴 beach_umbrella 🏖️ mountain ⛰️ house 🏠 office 🏢 hospital 🏥
school 🏫 airplane ✈️ car 🚗 bus 🚌 train 🚋 bike 🚲 rocket 🚀 hotel 🏨 desert_island 🏝️ computer 💻
desktop_computer 🖥️ iphone 📱 telephone_receiver 📞 headphones 🎧 musical_note 🎵 video_game 🎮 books 📚
book 📖 memo 📝 email 📧 envelope ✉️ calendar 📆 date 📅 clock1 🕐 hourglass ⌛ alarm_clock ⏰ stopwatch ⏱️
bulb 💡 wrench 🔧 gear ⚙️ lock 🔒 key 🔑 mag 🔍 bell 🔔 no_bell 🔕 mute 🔇 speaker 🔈 loudspeaker 📢
mega 📣 moneybag 💰 package 📦 gift 🎁 pushpin 📌 soccer ⚽ basketball 🏀 tennis 🎾 golf ⛳
weight_lifting 🏋️ trophy 🏆 tada 🎉 balloon 🎈 art 🎨 guitar 🎸 dart 🎯 sunny ☀️ rainbow 🌈 snowflake ❄️
zap ⚡ fire 🔥 star ⭐ sparkles ✨ moon 🌔 earth_africa 🌍 christmas_tree 🎄 dog 🐶 cat 🐱 heart ❤️
broken_heart 💔 white_check_mark ✅ x ❌ warning ⚠️ no_entry ⛔ question ❓ exclamation ❗ red_circle 🔴
green_circle 🟢 yellow_circle 🟡 large_blue_circle 🔵 orange_circle 🟠 100 💯 construction 🚧 sos 🆘
new 🆕 speech_balloon 💬
`.trim().split(/\s/);

export const emoji = new Map();
// Without the last character, fonts may draw a sign of old in black.
for (let i = 0; i < words.length; i += 2) emoji.set(words[i], words[i + 1].replace(/^[\u2000-\u2fff]$/, '$&\ufe0f'));
