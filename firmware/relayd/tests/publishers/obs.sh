#!/bin/bash
# OBS without a screen, publishing to a box: a throw-away profile and scene, rendered in software.
#
# It refuses to measure speed: rendering in software gives some 14 new pictures a second on two cores.
#
#   obs.sh SERVER KEY KEYFRAME_S SECONDS DIR
#     SERVER      rtmp://127.0.0.1:1935/live
#     KEYFRAME_S  0 is OBS's own "auto", which x264 makes 250 frames
#     DIR         what OBS keeps (its log: DIR/home/.config/obs-studio/logs), and the film it plays
#
# Debian packages: obs-studio xvfb dbus-x11 ffmpeg
set -euo pipefail

server=$1 key=$2 keyframe_s=$3 seconds=$4 dir=$5
config=$dir/home/.config/obs-studio
profile=$config/basic/profiles/Relaybox
mkdir -p "$profile" "$config/basic/scenes"

# A white picture and a beep at the top of each second; grain, so that there is something to code.
film=$dir/film.mkv
[ -e "$film" ] || ffmpeg -v error -y -t 60 \
  -f lavfi -i "color=black:s=640x360:r=30,drawbox=t=fill:c=white:enable='lt(mod(t,1),0.06)',noise=alls=6:allf=t" \
  -f lavfi -i "aevalsrc='0.8*sin(2*PI*1000*t)*lt(mod(t,1),0.05)':s=48000" \
  -t 60 -pix_fmt yuv420p -c:v libx264 -preset ultrafast -g 30 -c:a pcm_s16le "$film"

cat >"$config/global.ini" <<END
[General]
FirstRun=true
EnableAutoUpdates=false
[Basic]
Profile=Relaybox
ProfileDir=Relaybox
SceneCollection=Relaybox
SceneCollectionFile=Relaybox
END
cat >"$profile/basic.ini" <<END
[General]
Name=Relaybox
[Output]
Mode=Advanced
Reconnect=true
RetryDelay=1
MaxRetries=25
[AdvOut]
Encoder=obs_x264
TrackIndex=1
ApplyServiceSettings=false
[Video]
BaseCX=640
BaseCY=360
OutputCX=640
OutputCY=360
FPSType=0
FPSCommon=30
[Audio]
SampleRate=48000
ChannelSetup=Stereo
END
cat >"$profile/streamEncoder.json" <<END
{"rate_control": "CBR", "bitrate": 1000, "preset": "ultrafast", "keyint_sec": $keyframe_s}
END
cat >"$profile/service.json" <<END
{"type": "rtmp_custom", "settings": {"server": "$server", "key": "$key", "use_auth": false}}
END
cat >"$config/basic/scenes/Relaybox.json" <<END
{
  "name": "Relaybox",
  "current_scene": "Scene",
  "current_program_scene": "Scene",
  "scene_order": [{"name": "Scene"}],
  "sources": [
    {"id": "ffmpeg_source", "name": "Film", "volume": 1.0, "mixers": 255, "settings": {"local_file": "$film", "looping": true}},
    {"id": "scene", "name": "Scene", "settings": {"id_counter": 1, "items": [
      {"id": 1, "name": "Film", "visible": true, "pos": {"x": 0.0, "y": 0.0}, "scale": {"x": 1.0, "y": 1.0}, "align": 5}
    ]}}
  ]
}
END

export HOME=$dir/home XDG_CONFIG_HOME=$dir/home/.config LIBGL_ALWAYS_SOFTWARE=1 QT_QPA_PLATFORM=xcb
# OBS asks whether it may stop streaming, and nobody answers: so it is ended (137) a moment after it was asked to (124).
ended=0
xvfb-run -a -s "-screen 0 1024x768x24 +extension GLX" dbus-run-session -- \
  timeout -s INT -k 3 "$seconds" obs --startstreaming --multi --minimize-to-tray --disable-updater \
  >"$dir/obs.out" 2>&1 || ended=$?
case $ended in 0 | 124 | 137) ;; *) exit "$ended" ;; esac
